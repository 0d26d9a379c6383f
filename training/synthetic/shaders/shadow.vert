#version 330
// Depth as the key light sees it. One program serves the head and the surfaces around it.
in vec3 in_position;
uniform mat4 light_from_head;
uniform mat4 light_from_torso;
uniform float bend_low;
uniform float bend_high;
void main() {
    float turns = smoothstep(bend_low, bend_high, in_position.y);
    vec4 p = vec4(in_position, 1.0);
    gl_Position = mix(light_from_torso * p, light_from_head * p, turns);
}
