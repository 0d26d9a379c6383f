#version 330
// Paints a person's skin into the atlas, once: neither expression nor pose changes it. Alpha holds the lips.
in vec2 v_place;
uniform sampler2D growth_map;
uniform sampler2D noise_map;
uniform vec3 hair_colour;
out vec4 colour;
uniform sampler2D face_map;
uniform sampler2D brow_map;
uniform vec3 skin_colour;
uniform vec3 lip_colour;
uniform vec3 blush_colour;
uniform float lip_strength;
uniform float stubble;
uniform float freckles;
uniform float blotches;
uniform float pores;
uniform float scalp_hair;
uniform float hairline;
uniform float brow_strength;
uniform float eye_shade;
uniform vec3 brow_colour;

void main() {
    float face = step(v_place.x, 2.0 / 3.0);
    vec2 uv = vec2(mix(v_place.x * 3.0 - 2.0, v_place.x * 1.5, face), v_place.y);
    vec3 growth = texture(growth_map, v_place).rgb;
    float above = (growth.r - 0.5) * 4.0 - hairline * growth.b;
    vec4 masks = texture(face_map, uv) * face;
    vec4 noise = texture(noise_map, uv * 3.0);
    vec4 fine = texture(noise_map, uv * 11.0);
    vec3 albedo = skin_colour * (1.0 + blotches * (noise.r + 0.5 * noise.g - 0.75) + pores * (fine.b - 0.5));
    albedo = mix(albedo, blush_colour, masks.b * 0.45);
    albedo *= mix(vec3(1.0), vec3(0.80, 0.70, 0.68), masks.a * eye_shade);
    albedo *= 1.0 - freckles * smoothstep(0.66, 0.8, fine.b) * (0.25 + masks.b) * vec3(0.25, 0.45, 0.55);
    float beard = masks.g * stubble * (0.55 + 0.9 * (fine.b - 0.4) + 0.25 * (noise.g - 0.5));
    albedo = mix(albedo, hair_colour * 0.8, clamp(beard, 0.0, 0.93));
    albedo = mix(albedo, lip_colour * (0.85 + 0.3 * fine.g), masks.r * lip_strength);
    albedo = mix(albedo, brow_colour, texture(brow_map, uv).r * brow_strength * face);
    float scalp = smoothstep(-0.06, 0.10, above + 0.10 * (noise.g - 0.5)) * growth.g * scalp_hair;
    albedo = mix(albedo, hair_colour * (0.5 + 0.5 * fine.g), scalp);
    colour = vec4(sqrt(clamp(albedo, 0.0, 1.0)), max(masks.r, 0.5 * scalp));
}
