"""Alerts, each kind at most once a day; first days of portfolios that were onboarded."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE refresh_alerts (
    kind TEXT NOT NULL,
    day DATE,
    raised_at TIMESTAMP WITH TIME ZONE NOT NULL,
    words TEXT NOT NULL,
    delivered_at TIMESTAMP WITH TIME ZONE,
    attempts INTEGER NOT NULL,
    next_try_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_error TEXT,
    CONSTRAINT refresh_alerts_once UNIQUE NULLS NOT DISTINCT (kind, day)
);
COMMENT ON TABLE refresh_alerts IS 'refresh-assets: what a person was, or is still to be, woken for; each kind once a day';

CREATE TABLE refresh_first_days (
    portfolio_id UUID NOT NULL,
    first_day DATE NOT NULL,
    granted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (portfolio_id)
);
COMMENT ON TABLE refresh_first_days IS 'refresh-assets: the day before its creation from which an onboarded portfolio exists for the night';
"""


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(TABLES)


def downgrade() -> None:
    raise RuntimeError("There is no way back: drop refresh_alerts and refresh_first_days instead.")
