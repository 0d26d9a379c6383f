void shade(vec3 camera, vec3 n, vec3 place) { v_diffuse = vec3(0.0); v_shine = vec3(0.0); }
