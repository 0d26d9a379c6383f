// Teeth, gums and tongue.
in float v_material;
uniform vec3 teeth_colour;
uniform vec3 gum_colour;
uniform float teeth_material;

void main() {
    bool tooth = abs(v_material - teeth_material) < 0.5;
    float noise = texture(noise_map, v_uv * 2.0).g;
    vec3 albedo = tooth ? teeth_colour * (0.92 + 0.16 * noise) : gum_colour * (0.8 + 0.4 * noise);
    colour = develop(albedo * v_diffuse + v_shine, 1.0);
}
