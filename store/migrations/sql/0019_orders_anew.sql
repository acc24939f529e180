-- One open order of an action for a device's signal, and as many closed ones as there were.
ALTER TABLE work_order ADD COLUMN seen_at timestamptz;  -- when the reading that asks for the work was taken
ALTER TABLE work_order DROP CONSTRAINT work_order_tenant_id_quote_id_asset_id_signal_action_key;
CREATE UNIQUE INDEX work_order_open ON work_order (tenant_id, quote_id, asset_id, signal, action) WHERE state = 'open';
-- The loop of the jobs process looks up what answers an alarm of a device.
CREATE INDEX work_order_of_device ON work_order (quote_id, asset_id, signal);
