-- Imports that are not at their end. A process that is at one leases it, and does so again every few seconds: when it is gone, another
-- goes on.
create table import_queue (
    workspace_id uuid not null,
    import_id    uuid primary key,
    leased_until timestamptz not null default '-infinity'
);
grant select, insert, update, delete on import_queue to :login;
