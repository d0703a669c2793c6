"""A restatement names the closes that differ."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMN = "ALTER TABLE refresh_restatements ADD COLUMN prices_changed JSONB"


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(COLUMN)


def downgrade() -> None:
    raise RuntimeError("There is no way back: drop the column prices_changed of refresh_restatements instead.")
