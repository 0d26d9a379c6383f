// Face, neck and scalp: the painted atlas times the vertices' light.
in float v_material;
uniform sampler2D atlas;

void main() {
    float back = step(0.5, v_material);
    vec4 paint = texture(atlas, vec2(mix(v_uv.x * 2.0, 2.0 + v_uv.x, back) / 3.0, v_uv.y));
    // Inside of the lips: the light does not reach there.
    float hollow = 1.0 - 0.75 * smoothstep(9.6, 8.2, v_head.z) * step(0.6, paint.a) * (1.0 - back);
    vec3 shine = v_shine * (0.7 + paint.a);
    colour = develop((paint.rgb * paint.rgb * v_diffuse + shine) * hollow, 1.0);
}
