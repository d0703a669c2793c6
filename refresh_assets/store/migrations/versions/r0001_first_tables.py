"""The first tables, views and the p-value function.

Here: the DDL as it was when this revision was made; it never changes afterwards. Names carry no schema: the connection's
search_path puts them into ours. Later shapes are later revisions."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE portfolio_snapshots (
    snapshot_date DATE NOT NULL,
    portfolio_id UUID NOT NULL,
    total_value NUMERIC(20, 2) NOT NULL,
    total_cost NUMERIC(20, 2) NOT NULL,
    total_pnl NUMERIC(20, 2) NOT NULL,
    pnl_percent DOUBLE PRECISION,
    long_value NUMERIC(20, 2) NOT NULL,
    short_value NUMERIC(20, 2) NOT NULL,
    gross_exposure NUMERIC(20, 2) NOT NULL,
    net_exposure NUMERIC(20, 2) NOT NULL,
    daily_pnl NUMERIC(20, 2) NOT NULL,
    daily_return DOUBLE PRECISION,
    position_count INTEGER NOT NULL,
    positions_valued INTEGER NOT NULL,
    positions_unpriced INTEGER NOT NULL,
    pnl_legs_missing INTEGER NOT NULL,
    is_partial BOOLEAN NOT NULL,
    PRIMARY KEY (snapshot_date, portfolio_id)
)
 PARTITION BY RANGE (snapshot_date);
COMMENT ON TABLE portfolio_snapshots IS 'refresh-assets: value, cost, P&L and exposure of each portfolio on each day, USD; one row a portfolio and day';

CREATE TABLE correlation_calculations (
    calculation_date DATE NOT NULL,
    portfolio_id UUID NOT NULL,
    symbols TEXT[] NOT NULL,
    correlations REAL[] NOT NULL,
    data_points SMALLINT[] NOT NULL,
    overall_correlation DOUBLE PRECISION,
    weighted_correlation DOUBLE PRECISION,
    effective_positions DOUBLE PRECISION,
    correlation_concentration_score DOUBLE PRECISION,
    data_quality TEXT NOT NULL,
    positions_included INTEGER NOT NULL,
    positions_excluded INTEGER NOT NULL,
    duration_days INTEGER NOT NULL,
    PRIMARY KEY (calculation_date, portfolio_id)
)
 PARTITION BY RANGE (calculation_date);
COMMENT ON TABLE correlation_calculations IS 'refresh-assets: correlations of log returns inside each portfolio; the pairs are an upper triangle, row by row';

CREATE TABLE factor_exposures (
    calculation_date DATE NOT NULL,
    portfolio_id UUID NOT NULL,
    factor_id UUID NOT NULL,
    exposure_value DOUBLE PRECISION,
    exposure_dollar DOUBLE PRECISION,
    coverage DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (calculation_date, portfolio_id, factor_id)
)
 PARTITION BY RANGE (calculation_date);
COMMENT ON TABLE factor_exposures IS 'refresh-assets: exposure of each portfolio to each active factor, USD and fraction of PUBLIC gross; null is unknown';

CREATE TABLE stress_test_results (
    calculation_date DATE NOT NULL,
    portfolio_id UUID NOT NULL,
    scenario_id TEXT NOT NULL,
    direct_pnl DOUBLE PRECISION,
    correlated_pnl DOUBLE PRECISION,
    correlation_effect DOUBLE PRECISION,
    is_capped BOOLEAN NOT NULL,
    PRIMARY KEY (calculation_date, portfolio_id, scenario_id)
)
 PARTITION BY RANGE (calculation_date);
COMMENT ON TABLE stress_test_results IS 'refresh-assets: P&L of each portfolio under each scenario, USD; null is unknown';

CREATE TABLE stress_factor_shocks (
    calculation_date DATE NOT NULL,
    scenario_id TEXT NOT NULL,
    factor_id UUID NOT NULL,
    shock DOUBLE PRECISION,
    expected_move DOUBLE PRECISION,
    is_joint BOOLEAN NOT NULL,
    PRIMARY KEY (calculation_date, scenario_id, factor_id)
);
COMMENT ON TABLE stress_factor_shocks IS 'refresh-assets: what each scenario did to each factor on the day, fraction of return';

CREATE TABLE refresh_exceptions (
    calculation_date DATE NOT NULL,
    asset TEXT NOT NULL,
    portfolio_id UUID,
    position_id UUID,
    symbol TEXT,
    code TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX refresh_exceptions_by_day ON refresh_exceptions (calculation_date, asset);
COMMENT ON TABLE refresh_exceptions IS 'refresh-assets: everything that was left out, skipped or failed, by name';

CREATE TABLE refresh_days (
    calculation_date DATE NOT NULL,
    table_name TEXT NOT NULL,
    status TEXT NOT NULL,
    portfolios INTEGER NOT NULL,
    rows BIGINT NOT NULL,
    exceptions INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    accounted BIGINT NOT NULL,
    inputs_digest TEXT NOT NULL,
    inputs JSONB NOT NULL,
    run_id TEXT NOT NULL,
    code_version TEXT NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (calculation_date, table_name)
);
COMMENT ON TABLE refresh_days IS 'refresh-assets: which day of which table is there, from which inputs; same transaction as its rows';

CREATE TABLE refresh_marks (
    calculation_date DATE NOT NULL,
    symbol TEXT NOT NULL,
    close_price NUMERIC NOT NULL,
    PRIMARY KEY (calculation_date, symbol)
);
COMMENT ON TABLE refresh_marks IS 'refresh-assets: the closes that the day used, as they were then';

CREATE TABLE refresh_restatements (
    calculation_date DATE NOT NULL,
    table_name TEXT NOT NULL,
    restated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    run_id TEXT NOT NULL,
    rows_changed BIGINT NOT NULL,
    portfolios_changed INTEGER NOT NULL,
    largest_change DOUBLE PRECISION,
    largest_change_column TEXT,
    largest_change_portfolio UUID,
    old_value DOUBLE PRECISION,
    new_value DOUBLE PRECISION,
    old_digest TEXT NOT NULL,
    new_digest TEXT NOT NULL,
    inputs_changed TEXT[] NOT NULL
);
CREATE INDEX refresh_restatements_by_day ON refresh_restatements (calculation_date, table_name);
COMMENT ON TABLE refresh_restatements IS 'refresh-assets: what a recomputed day changed against what stood there before';

"""

VIEWS = r"""
CREATE FUNCTION correlation_p_value(rho double precision, days integer) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
-- Two-sided p value of a Pearson correlation, t test with n - 2 degrees of freedom:
-- p = I_x(a, 1/2), the regularised incomplete beta function at x = 1 - rho^2, a = (n - 2) / 2
-- (DLMF 8.17.20: I_x(a, b) = I_x(a + 1, b) + x^a (1 - x)^b / (a B(a, b)), started from a = 1/2 or 1).
DECLARE
    x double precision := 1 - rho * rho;
    a double precision := (days - 2) / 2.0;
    k double precision;
    term double precision;
    p double precision;
BEGIN
    IF days < 3 THEN RETURN NULL; END IF;
    IF x <= 0 THEN RETURN 0; END IF;
    IF days % 2 = 1 THEN
        k := 0.5; p := 2 / pi() * acos(abs(rho)); term := 2 / pi() * sqrt(x) * abs(rho);
    ELSE
        k := 1; p := 1 - abs(rho); term := x * abs(rho) / 2;
    END IF;
    WHILE k < a LOOP
        p := p - term;
        term := term * x * (k + 0.5) / (k + 1);
        k := k + 1;
    END LOOP;
    IF p > 1e-4 THEN RETURN least(p, 1); END IF;
    -- A small p is what two nearly equal numbers leave: add up the tail instead, whose terms are all positive.
    p := 0;
    WHILE term > p * 1e-17 LOOP
        p := p + term;
        term := term * x * (k + 0.5) / (k + 1);
        k := k + 1;
    END LOOP;
    RETURN p;
END
$$;

CREATE VIEW pairwise_correlations AS
SELECT portfolio_id, calculation_date, symbol_1, symbol_2, correlation_value, data_points, p_value,
    1 - p_value AS statistical_significance
FROM (
    SELECT c.portfolio_id, c.calculation_date, c.symbols[place.i] AS symbol_1,
        c.symbols[(pair.k - place.before + place.i)::int] AS symbol_2,
        pair.correlation_value, pair.data_points,
        correlation_p_value(pair.correlation_value, pair.data_points) AS p_value
    FROM correlation_calculations c
    CROSS JOIN LATERAL (SELECT cardinality(c.symbols) AS n) size
    CROSS JOIN LATERAL unnest(c.correlations, c.data_points)
        WITH ORDINALITY AS pair(correlation_value, data_points, k)
    -- Row i of the upper triangle starts after (i - 1)(2n - i) / 2 pairs.
    CROSS JOIN LATERAL (
        SELECT (size.n - floor((1 + sqrt(8 * (size.n * (size.n - 1) / 2 - pair.k) + 1)) / 2))::int AS i
    ) row_of
    CROSS JOIN LATERAL (SELECT row_of.i, (row_of.i - 1) * (2 * size.n - row_of.i) / 2 AS before) place
) pairs;

CREATE VIEW stress_factor_impacts AS
SELECT s.calculation_date, e.portfolio_id, s.scenario_id, s.factor_id, s.shock, s.expected_move,
    e.exposure_dollar * s.shock AS direct_impact,
    CASE WHEN s.is_joint THEN e.exposure_dollar * s.expected_move END AS correlated_impact
FROM stress_factor_shocks s
JOIN factor_exposures e USING (calculation_date, factor_id)
UNION ALL
-- What the cap took off, as a line of its own: the lines of a capped result add up to it as well.
SELECT r.calculation_date, r.portfolio_id, r.scenario_id, NULL, NULL, NULL,
    r.direct_pnl - sum(e.exposure_dollar * s.shock),
    r.correlated_pnl - sum(e.exposure_dollar * s.expected_move) FILTER (WHERE s.is_joint)
FROM stress_test_results r
JOIN stress_factor_shocks s USING (calculation_date, scenario_id)
JOIN factor_exposures e USING (calculation_date, portfolio_id, factor_id)
WHERE r.is_capped
GROUP BY r.calculation_date, r.portfolio_id, r.scenario_id, r.direct_pnl, r.correlated_pnl;

CREATE VIEW refresh_complete_days AS
SELECT calculation_date, min(inputs_digest) AS inputs_digest, max(portfolios) AS portfolios,
    max(finished_at) AS finished_at
FROM refresh_days
WHERE status = 'complete'
GROUP BY calculation_date
HAVING count(*) = 4 AND count(DISTINCT inputs_digest) = 1 AND count(DISTINCT code_version) = 1;

COMMENT ON VIEW pairwise_correlations IS 'refresh-assets: one row an unordered pair of symbols of a portfolio and day';
COMMENT ON VIEW stress_factor_impacts IS 'refresh-assets: the P&L of each stress result by factor; the lines add up to it';
COMMENT ON VIEW refresh_complete_days IS 'refresh-assets: days of which all four tables are complete, from one set of inputs';
"""


def upgrade() -> None:
    # The driver's own cursor: the text is SQL as it stands, % and : in it mean themselves.
    cursor = op.get_bind().connection.cursor()
    cursor.execute(TABLES)
    cursor.execute(VIEWS)


def downgrade() -> None:
    raise RuntimeError("There is no way back from the first revision: drop its tables instead.")
