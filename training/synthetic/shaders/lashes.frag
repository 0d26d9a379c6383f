// v_uv.x runs along the lid, v_uv.y from root to tip.
uniform float lash_strength;
uniform vec3 lash_colour;

void main() {
    float strand = texture(noise_map, vec2(v_uv.x * 1.7 + v_uv.y * 0.08, 0.37)).b;
    float tip = mix(0.34, 0.66, v_uv.y);
    float alpha = smoothstep(tip - 0.12, tip + 0.12, strand) * (1.0 - smoothstep(0.3, 0.8, v_uv.y));
    colour = develop(lash_colour * v_diffuse, alpha * lash_strength * (v_rest.y > 3.35 ? 1.0 : 0.4));
}
