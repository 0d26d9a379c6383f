// Two shifted highlights along the strand (Kajiya and Kay, "Rendering fur", SIGGRAPH 1989).
uniform vec3 hair_colour;
uniform float gloss;

void shade(vec3 camera, vec3 n, vec3 tangent, vec3 place) {
    float shadow = mix(0.35, 1.0, lit(place));
    vec3 t = normalize(tangent);
    float along = dot(t, key_direction);
    float diffuse = wrap(dot(n, key_direction), 0.25) * sqrt(max(1.0 - along * along, 0.0));
    v_diffuse = key_colour * diffuse * shadow + fill_colour * wrap(dot(n, fill_direction), 0.25) + ambient(n);
    float th = dot(t, normalize(key_direction + normalize(-camera)));
    float lobe = pow(max(1.0 - th * th, 0.0), 40.0);
    float lobe2 = pow(max(1.0 - (th + 0.15) * (th + 0.15), 0.0), 14.0);
    float faces = clamp(dot(n, key_direction) * 1.5 + 0.3, 0.0, 1.0) * shadow;
    v_shine = gloss * key_colour * faces * (0.10 * lobe + 0.9 * lobe2 * hair_colour);
}
