// The iris is painted on the sclera by the angle from the eye's axis; v_rest is the ball before it turned.
uniform vec3 rest_centre;        // of the left eye; the right one mirrors x
uniform vec3 iris_colour;
uniform vec3 sclera_colour;
uniform float pupil;
uniform float iris_size;

void main() {
    float side = v_rest.x > 0.0 ? 1.0 : -1.0;
    vec3 axis = normalize(v_rest - rest_centre * vec3(side, 1.0, 1.0));
    float r = axis.z < 0.0 ? 9.0 : length(axis.xy) / iris_size;
    float angle = atan(axis.y, axis.x) / 6.2831853;
    vec4 streak = texture(noise_map, vec2(angle * 2.0 + side * 0.3, r * 0.10));
    vec4 fleck = texture(noise_map, axis.xy * 0.7 + side * 0.2);
    vec3 iris = iris_colour * (0.55 + 0.95 * streak.g) * (0.75 + 0.5 * fleck.g);
    iris *= mix(1.25, 0.75, smoothstep(pupil, 1.0, r));
    iris *= 1.0 - 0.75 * smoothstep(0.78, 1.0, r);                     // limbal ring
    iris = mix(vec3(0.006), iris, smoothstep(pupil - 0.06, pupil + 0.06, r));
    float corner = smoothstep(0.45, 0.95, abs(axis.x));
    vec3 sclera = sclera_colour * mix(vec3(1.0), vec3(0.95, 0.72, 0.66), corner * 0.8);
    sclera *= (1.0 - 0.10 * smoothstep(0.62, 0.8, fleck.b) * corner) * (1.0 - 0.35 * corner);
    vec3 albedo = mix(iris, sclera, smoothstep(0.92, 1.06, r));
    colour = develop(albedo * v_diffuse + v_shine, 1.0);
}
