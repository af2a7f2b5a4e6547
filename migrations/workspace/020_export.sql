create table export (
    id          uuid primary key, -- and, behind "export-", the name of its file in the store of blobs
    status      text not null,
    failure     text not null,
    up_to       bigint not null,
    size        bigint not null,
    digest      text not null,
    created_by  uuid not null,
    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    finished_at timestamptz,
    expires_at  timestamptz,
    version     integer not null,
    position    bigint not null
);
grant select, insert, update on export to :role;

-- How far an export is. No history: an export that begins again begins this again.
create table export_run (
    export_id uuid primary key,
    counts    json not null
);
grant select, insert, update, delete on export_run to :role;
