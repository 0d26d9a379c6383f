// Teeth, gums and tongue, darker the deeper they lie behind the lips.
uniform float opening;

void shade(vec3 camera, vec3 n, vec3 place) {
    float depth = smoothstep(3.0, 10.6, in_rest.z);
    float reach = depth * depth * mix(0.42, 0.85, opening) * (1.0 - 0.65 * smoothstep(1.0, 3.1, abs(in_rest.x)));
    float shadow = mix(0.35, 1.0, lit(place));
    v_diffuse = lambert(n, shadow, 0.3, 0.0) * reach;
    v_shine = key_colour * reach * shadow * 0.2 * highlight(n, key_direction, camera, 60.0);
}
