// For the tests: which part is seen, as a flat value.
uniform float part_id;
void main() { colour = vec4(vec3(part_id), 1.0); }
