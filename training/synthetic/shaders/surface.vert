// Hair and clothes: a grid with tangents. `turns` is 1 for hair (head) and 0 for clothes (torso).
in vec3 in_position;
in vec3 in_normal;
in vec3 in_tangent;
in vec2 in_uv;
uniform mat4 camera_from_head;
uniform mat4 camera_from_torso;
uniform mat4 clip_from_camera;
uniform mat4 light_from_camera;
uniform float turns;
uniform float shell_step;
out vec3 v_diffuse;
out vec3 v_shine;
out vec3 v_rest;
out vec3 v_head;
out vec2 v_uv;
out float v_shell;

void shade(vec3 camera, vec3 n, vec3 tangent, vec3 place);

void main() {
    v_shell = float(gl_InstanceID);
    vec4 p = vec4(in_position + in_normal * (shell_step * v_shell), 1.0);
    // Long hair falls on the shoulders: below the chin it follows the torso.
    float with_head = turns * smoothstep(-17.0, -6.0, in_position.y);
    vec4 camera = mix(camera_from_torso * p, camera_from_head * p, with_head);
    mat3 turn = mat3(camera_from_torso) * (1.0 - with_head) + mat3(camera_from_head) * with_head;
    vec3 n = normalize(turn * in_normal);
    if (dot(n, camera.xyz) > 0.0) n = -n;
    v_rest = in_position;
    v_head = in_position;
    v_uv = in_uv;
    shade(camera.xyz, n, turn * in_tangent, (light_from_camera * camera).xyz * 0.5 + 0.5);
    gl_Position = clip_from_camera * camera;
}
