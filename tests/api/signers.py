"""Who signs tokens: a stand-in for the Auth of a Supabase project, with its signing keys at the address of its JWKS."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

HS256_SECRET = "a secret of the tests with at least 32 characters"


class Signer:
    """Signs with ES256 and RS256, publishes both keys, and counts who asks for them."""

    def __init__(self) -> None:
        self.es256 = ec.generate_private_key(ec.SECP256R1())
        self.rs256 = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.fetches = 0
        self.is_down = False
        signer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                signer.fetches += 1
                body = b"{}" if self.path != "/auth/v1/.well-known/jwks.json" else signer.published()
                self.send_response(503 if signer.is_down else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def published(self) -> bytes:
        keys = []
        for kid, told in {
            "es": ECAlgorithm.to_jwk(self.es256.public_key()),
            "rs": RSAAlgorithm.to_jwk(self.rs256.public_key()),
        }.items():
            keys.append({**json.loads(told), "kid": kid, "use": "sig", "alg": f"{kid.upper()}256"})
        return json.dumps({"keys": keys}).encode()

    def token(
        self, user_id: str, *, algorithm: str = "ES256", key: Any = None, kid: str | None = None, **claims: Any
    ) -> str:
        """A token of a signed-in user; a claim of None is left out."""
        now = int(time.time())
        said = {
            "iss": f"{self.url}/auth/v1",
            "aud": "authenticated",
            "sub": user_id,
            "role": "authenticated",
            "iat": now,
            "exp": now + 3600,
            **claims,
        }
        keys = {"ES256": self.es256, "RS256": self.rs256, "HS256": HS256_SECRET, "none": None}
        return jwt.encode(
            {name: value for name, value in said.items() if value is not None},
            key or keys[algorithm],
            algorithm=algorithm,
            headers={"kid": algorithm[:2].lower() if kid is None else kid},
        )

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
