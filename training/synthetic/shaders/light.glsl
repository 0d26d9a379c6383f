// Lighting, evaluated at vertices: the mesh is about as dense as the pixels, and on a CPU a fragment of a
// two-pixel triangle costs a whole block of sixteen. Camera space: cm, x right, y up, z towards the viewer.
uniform sampler2D shadow_map;
uniform vec3 key_direction;
uniform vec3 key_colour;
uniform vec3 fill_direction;
uniform vec3 fill_colour;
uniform vec3 sky_colour;
uniform vec3 ground_colour;

float lit(vec3 place) {
    // Percentage-closer over a ring; the map is orthographic along the key light.
    float size = 1.0 / float(textureSize(shadow_map, 0).x);
    float sum = 0.0;
    for (int i = 0; i < 4; i++) {
        vec2 shift = (vec2(i & 1, i >> 1) - 0.5) * 2.0 * size;
        sum += step(place.z - 0.009, texture(shadow_map, place.xy + shift).r);
    }
    return 0.25 * sum;
}

vec3 ambient(vec3 n) { return mix(ground_colour, sky_colour, 0.5 + 0.5 * n.y); }

float wrap(float facing, float reach) { return clamp((facing + reach) / (1.0 + reach), 0.0, 1.0); }

vec3 lambert(vec3 n, float shadow, float key_wrap, float fill_wrap) {
    vec3 key = key_colour * wrap(dot(n, key_direction), key_wrap) * shadow;
    return key + fill_colour * wrap(dot(n, fill_direction), fill_wrap) + ambient(n);
}

float highlight(vec3 n, vec3 light, vec3 camera, float power) {
    return pow(max(dot(n, normalize(light + normalize(-camera))), 0.0), power);
}
