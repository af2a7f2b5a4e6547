create table import (
    id          uuid primary key,
    format      text not null,
    source      text not null,
    org         text not null,
    mapping     jsonb not null,
    size        bigint not null,
    status      text not null,
    failure     text not null,
    token_id    uuid,
    created_by  uuid not null,
    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    finished_at timestamptz,
    version     integer not null,
    position    bigint not null
);
grant select, insert, update on import to :role;

-- How far an import is, and which lines it rejected. No history: an import that begins again begins this again.
create table import_run (
    import_id uuid primary key,
    counts    json not null,
    rejects   json not null
);
grant select, insert, update, delete on import_run to :role;
