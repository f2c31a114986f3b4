-- A server with next to no buffers, whose statements are cheap until the load wears it out.
-- Each customer's invoices, by an index that somebody drops.
CREATE TABLE invoices (id int PRIMARY KEY, customer_id int NOT NULL, body text);
INSERT INTO invoices SELECT g, g / 4, repeat(md5(g::text), 4) FROM generate_series(1, 20000) g;
CREATE INDEX invoices_customer_idx ON invoices (customer_id);

-- The first jobs of an owner. Autovacuum is off, since it would repair the statistics.
CREATE TABLE jobs (id int PRIMARY KEY, owner int NOT NULL, body text) WITH (autovacuum_enabled = false);
INSERT INTO jobs SELECT g, g % 1000, repeat(md5(g::text), 4) FROM generate_series(1, 20000) g;
CREATE INDEX jobs_owner_idx ON jobs (owner);

-- Counted up all the time, with room in each block to do so.
CREATE TABLE meters (id int PRIMARY KEY, reading int NOT NULL) WITH (fillfactor = 50);
INSERT INTO meters SELECT g, 0 FROM generate_series(1, 4000) g;

-- When all of that is counted:
VACUUM ANALYZE invoices, jobs, meters;
