// Strands by noise stretched along them; shells above the first keep only some strands, tips fray.
in float v_shell;
uniform float shells;
uniform float strand_count;
uniform float edge_softness;

void main() {
    vec2 at = vec2(v_uv.x * strand_count, v_uv.y * 0.35);
    float clump = texture(noise_map, at * vec2(0.16, 0.5)).g;
    float strand = texture(noise_map, at).b;
    float height = v_shell / max(shells - 1.0, 1.0);
    float tip = smoothstep(1.0 - edge_softness, 1.0, v_uv.y);
    float keep = 0.6 * strand + 0.4 * clump - 0.62 * height * step(0.5, v_shell) - 0.72 * tip * tip;
    if (keep < 0.02) discard;
    float root = mix(0.55, 1.0, smoothstep(0.0, 0.25, v_uv.y));
    vec3 albedo = hair_colour * (0.35 + 0.9 * strand + 0.6 * (clump - 0.5)) * mix(0.7, 1.15, height) * root;
    colour = develop(albedo * v_diffuse + v_shine * (0.3 + 1.1 * strand), 1.0);
}
