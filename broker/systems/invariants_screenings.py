"""What must hold of system E, as queries that count what breaks it (invariant 17 of the facts)."""

from __future__ import annotations

from collections.abc import Mapping

INVARIANTS: Mapping[str, str] = {
    "a used token has one use, every other none": """
        SELECT COUNT(*) FROM screening s LEFT JOIN screening_use u ON u.screening = s.screening
        WHERE (s.state = 'used') <> (u.screening IS NOT NULL)""",
    "a token is used while it lives": """
        SELECT COUNT(*) FROM screening s JOIN screening_use u ON u.screening = s.screening
        WHERE u.used_s < s.issued_s OR u.used_s >= s.expires_s""",
    "what was opened follows a policy of the token's own store": """
        SELECT COUNT(*) FROM screening_use u JOIN screening s ON s.screening = u.screening
        LEFT JOIN screening_policy p ON p.store = s.store AND p.version = u.policy_version
        WHERE p.store IS NULL""",
    "policies have versions without gaps": """
        SELECT COUNT(*) FROM (SELECT store FROM screening_policy GROUP BY store
            HAVING MIN(version) <> 1 OR MAX(version) <> COUNT(*)) AS gap""",
}
