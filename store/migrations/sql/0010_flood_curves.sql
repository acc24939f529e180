-- Which depth-damage curves a book declares, and what to take where a location says nothing of its building. Empty: the
-- default (HAZUS in the United States, JRC by continent elsewhere; nothing assumed).
ALTER TABLE portfolio ADD COLUMN flood_curves jsonb NOT NULL DEFAULT '{}';
