// Wrapped Lambert with a red rim for the light that skin lets through, two highlights, a pale edge.
uniform float oil;

void shade(vec3 camera, vec3 n, vec3 place) {
    float shadow = lit(place);
    vec3 wrapped = clamp((vec3(dot(n, key_direction)) + vec3(0.28, 0.12, 0.08)) / vec3(1.28, 1.12, 1.08), 0.0, 1.0);
    v_diffuse = key_colour * wrapped * mix(vec3(0.30, 0.16, 0.12), vec3(1.0), shadow);
    v_diffuse += fill_colour * wrap(dot(n, fill_direction), 0.2) + ambient(n);
    float key_shine = 0.10 * highlight(n, key_direction, camera, 14.0) + 0.16 * highlight(n, key_direction, camera, 55.0);
    v_shine = oil * (key_colour * shadow * key_shine + fill_colour * 0.07 * highlight(n, fill_direction, camera, 18.0));
    float rim = 1.0 - max(dot(n, normalize(-camera)), 0.0);
    v_shine += sky_colour * rim * rim * rim * rim * 0.10;
}
