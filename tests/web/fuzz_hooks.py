"""Media types of the studio for schemathesis, which `test_contract` starts."""

import schemathesis


@schemathesis.serializer("application/sdp")
def sdp(ctx: object, value: object) -> bytes:  # noqa: ARG001 - the hook's contract
    return value if isinstance(value, bytes) else str(value).encode()
