void shade(vec3 camera, vec3 n, vec3 tangent, vec3 place) {
    v_diffuse = lambert(n, mix(0.3, 1.0, lit(place)), 0.1, 0.1);
    v_shine = vec3(0.0);
}
