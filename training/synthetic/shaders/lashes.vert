// Lashes take the room's light and some of the key's.
void shade(vec3 camera, vec3 n, vec3 place) {
    v_diffuse = ambient(vec3(0.0, 0.0, 1.0)) + 0.3 * key_colour;
    v_shine = vec3(0.0);
}
