"""What the gate read stays for its next look, which is often another process's."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Derived from other tables: a crash may empty it, and no log has to reach the disk for it. Hashes and ids: nothing to compress.
TABLE = """
CREATE UNLOGGED TABLE refresh_gate_memory (
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    content BYTEA[] NOT NULL,
    PRIMARY KEY (kind)
);
COMMENT ON TABLE refresh_gate_memory IS 'refresh-assets: what the gate''s last look read, so that the next reads only what was written since; may be emptied';
ALTER TABLE refresh_gate_memory ALTER content SET STORAGE EXTERNAL;
"""


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(TABLE)


def downgrade() -> None:
    raise RuntimeError("There is no way back: drop refresh_gate_memory instead.")
