"""Tokens of signed-in users, as Supabase's Auth makes them: verified here, with every claim that matters.

The signing keys come from the project's JWKS (ES256 or RS256). HS256 counts only where a secret is configured, and
never with a key from the JWKS. PyJWT's client keeps the keys for ten minutes and does not ask again for an unknown one
more than every 30 s, so that forged tokens cannot make this server flood Supabase.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import jwt
from jwt import PyJWKClient
from jwt.exceptions import PyJWKClientConnectionError, PyJWTError

from tallystick.errors import LedgerUnavailable, Unauthorized

AUDIENCE = "authenticated"
ROLE = "authenticated"
REQUIRED_CLAIMS = ["exp", "sub", "aud", "iss"]
CLOCK_LEEWAY_S = 10
KEYS_LIFESPAN_S = 600
KEYS_TIMEOUT_S = 3
KEYS_COOLDOWN_S = 3
MAX_TOKEN_LENGTH = 8192


class _SigningKeys(PyJWKClient):
    """PyJWT's client, which after a failed fetch does not try again at once: one that hangs would hold up everybody."""

    _next_fetch_at = 0.0

    def fetch_data(self) -> Any:
        """The keys as the project answers them; raises PyJWKClientConnectionError for whatever is in the way."""
        if time.monotonic() < self._next_fetch_at:
            raise PyJWKClientConnectionError("the last fetch failed a moment ago")
        try:
            return super().fetch_data()
        except (PyJWTError, OSError, ValueError) as error:
            self._next_fetch_at = time.monotonic() + KEYS_COOLDOWN_S
            raise PyJWKClientConnectionError(type(error).__name__) from None


class Tokens:
    """The tokens of one Supabase project; safe for use by many threads."""

    def __init__(self, *, supabase_url: str, jwt_secret: str = "") -> None:
        self._issuer = f"{supabase_url.rstrip('/')}/auth/v1"
        self._secret = jwt_secret
        self._keys = _SigningKeys(
            f"{self._issuer}/.well-known/jwks.json", lifespan=KEYS_LIFESPAN_S, timeout=KEYS_TIMEOUT_S
        )

    def user_of(self, token: str) -> str:
        """The id of the user whom a token signs in; raises Unauthorized, LedgerUnavailable where no key can be had."""
        try:
            claims = self._claims(token)
            user_id = str(UUID(claims["sub"]))
        except PyJWKClientConnectionError:
            raise LedgerUnavailable("the signing keys of Supabase cannot be had now", hint="Try again.") from None
        except jwt.ExpiredSignatureError:
            raise Unauthorized("the token has expired", hint="Sign in again.", constraint="token_is_valid") from None
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            # only the kind of the error: its words may quote the token
            raise Unauthorized(
                f"the token does not hold ({type(error).__name__})",
                hint="Sign in again.",
                constraint="token_is_valid",
            ) from None
        if claims.get("role") != ROLE:
            raise Unauthorized("the token is not a signed-in user's", hint="Sign in.", constraint="token_is_a_users")
        return user_id

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_LENGTH:
            raise jwt.InvalidTokenError
        algorithm = jwt.get_unverified_header(token).get("alg")
        if self._secret and algorithm == "HS256":
            return self._decoded(token, self._secret, ["HS256"])
        if algorithm not in ("ES256", "RS256"):
            raise jwt.InvalidAlgorithmError  # and no key is fetched for it
        return self._decoded(token, self._keys.get_signing_key_from_jwt(token).key, ["ES256", "RS256"])

    def _decoded(self, token: str, key: Any, algorithms: list[str]) -> dict[str, Any]:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=algorithms,
            audience=AUDIENCE,
            issuer=self._issuer,
            leeway=CLOCK_LEEWAY_S,
            options={"require": REQUIRED_CLAIMS},
        )
        return claims
