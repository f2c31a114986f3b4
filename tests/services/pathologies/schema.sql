-- One pathology for each table. Autovacuum is off where it would repair what is planted.
CREATE EXTENSION pgstattuple;

-- Looked up by a column without an index; its neighbour is looked up by one that has an index.
CREATE TABLE visits (id int PRIMARY KEY, visitor_id int NOT NULL, shop_id int NOT NULL, page text);
INSERT INTO visits SELECT g, g / 3, g % 20000, md5(g::text) FROM generate_series(1, 60000) g;
CREATE INDEX visits_shop_idx ON visits (shop_id);
-- Nothing looks for a page.
CREATE INDEX visits_page_idx ON visits (page);

-- Two equal indexes, and one that begins like them but has another column.
CREATE TABLE orders (id int PRIMARY KEY, customer_id int NOT NULL, total int NOT NULL);
INSERT INTO orders SELECT g, g / 4, g FROM generate_series(1, 20000) g;
CREATE INDEX orders_customer_again_idx ON orders (customer_id);
CREATE INDEX orders_customer_idx ON orders (customer_id);
CREATE INDEX orders_customer_total_idx ON orders (customer_id, total);

-- Dead rows, with fresh statistics.
CREATE TABLE sessions (id int PRIMARY KEY, seen int NOT NULL, body text) WITH (autovacuum_enabled = false);
INSERT INTO sessions SELECT g, 0, md5(g::text) FROM generate_series(1, 40000) g;
UPDATE sessions SET seen = 1 WHERE id <= 25000;

-- Free space that vacuum cannot give back.
CREATE TABLE carts (id int PRIMARY KEY, body text) WITH (autovacuum_enabled = false);
INSERT INTO carts SELECT g, repeat(md5(g::text), 4) FROM generate_series(1, 40000) g;
DELETE FROM carts WHERE id % 4 <> 0;

-- Statistics of a table before it doubled.
CREATE TABLE prices (id int PRIMARY KEY, price int NOT NULL) WITH (autovacuum_enabled = false);
INSERT INTO prices SELECT g, g FROM generate_series(1, 6000) g;

-- Searched without any index that would help: too small for one, and slow.
CREATE TABLE notes (id int PRIMARY KEY, body text);
INSERT INTO notes SELECT g, repeat(md5(g::text), 24) FROM generate_series(1, 9000) g;

-- Sorted as a whole.
CREATE TABLE reports (id int PRIMARY KEY, body text);
INSERT INTO reports SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 9000) g;

-- Looked up one by one by a page that needs many.
CREATE TABLE products (id int PRIMARY KEY, name text);
INSERT INTO products SELECT g, md5(g::text) FROM generate_series(1, 5000) g;

-- When all of that is counted:
VACUUM ANALYZE visits, orders, carts, notes, reports, products;
ANALYZE sessions, prices;
INSERT INTO prices SELECT g, g FROM generate_series(6001, 12000) g;
