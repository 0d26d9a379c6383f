// The neck bends: its upper part turns with the head, its lower part stays with the torso.
in vec3 in_position;
in vec3 in_normal;
in vec3 in_rest;
in vec2 in_uv;
in float in_material;
in float in_above;
uniform mat4 camera_from_head;
uniform mat4 camera_from_torso;
uniform mat4 clip_from_camera;
uniform mat4 light_from_camera;
out vec3 v_diffuse;
out vec3 v_shine;
out vec3 v_rest;
out vec3 v_head;
out vec2 v_uv;
out float v_material;
out float v_above;

void shade(vec3 camera, vec3 n, vec3 place);

void main() {
    float turns = smoothstep(-16.5, -8.5, in_rest.y);
    vec4 p = vec4(in_position, 1.0);
    vec4 camera = mix(camera_from_torso * p, camera_from_head * p, turns);
    vec3 n = normalize(mix(mat3(camera_from_torso) * in_normal, mat3(camera_from_head) * in_normal, turns));
    v_rest = in_rest;
    v_head = in_position;
    v_uv = in_uv;
    v_material = in_material;
    v_above = in_above;
    shade(camera.xyz, n, (light_from_camera * camera).xyz * 0.5 + 0.5);
    gl_Position = clip_from_camera * camera;
}
