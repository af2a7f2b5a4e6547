create table attachment (
    id         uuid primary key, -- and the name of its bytes in the store of blobs
    task_id    uuid not null,
    name       text not null,
    size       bigint not null,
    type       text not null,
    digest     text not null,
    created_by uuid not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    version    integer not null,
    position   bigint not null
);
create index on attachment (task_id, id);
create index on attachment (created_by);
grant select, insert, update on attachment to :role;

-- One row: how many bytes the attachments have.
create table storage (
    id       uuid primary key,
    bytes    bigint not null,
    version  integer not null,
    position bigint not null
);
grant select, insert, update on storage to :role;
