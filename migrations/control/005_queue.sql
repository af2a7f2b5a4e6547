-- Long work that is not at its end: imports and exports. A process that is at one leases it, and does so again every few seconds: when
-- it is gone, another goes on.
create table queue (
    kind         text not null,
    workspace_id uuid not null,
    id           uuid primary key, -- of the import, or the export
    leased_until timestamptz not null default '-infinity'
);
grant select, insert, update, delete on queue to :login;
