// Clothes: one colour, a coarse weave, soft folds.
uniform vec3 cloth_colour;
uniform vec3 cloth_second;
uniform float stripes;

void main() {
    float fold = texture(noise_map, v_rest.xy * vec2(0.018, 0.012) + 0.3).r;
    float weave = texture(noise_map, v_rest.xy * 0.22).b;
    float band = smoothstep(0.45, 0.55, abs(fract(v_rest.y * 0.35) - 0.5) * 2.0);
    vec3 albedo = mix(cloth_colour, cloth_second, band * stripes) * (0.86 + 0.28 * weave) * (0.7 + 0.6 * fold);
    albedo *= mix(0.72, 1.0, smoothstep(0.03, 0.045, v_uv.y));         // the collar's hem
    colour = develop(albedo * v_diffuse, 1.0);
}
