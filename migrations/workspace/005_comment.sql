create table comment (
    id         uuid primary key,
    task_id    uuid not null,
    parent_id  uuid, -- the comment that it answers
    body       text not null,
    mention_ids uuid[] not null,
    created_by uuid not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    version    integer not null,
    position   bigint not null
);
create index on comment (task_id, id);
create index on comment (created_by);
grant select, insert, update on comment to :role;
