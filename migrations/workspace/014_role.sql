-- The workspace's own roles. The built-in ones are in the program.
create table role (
    id         uuid primary key,
    name       text not null,
    name_key   text not null,
    grants     jsonb not null,
    created_by uuid not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    version    integer not null,
    position   bigint not null
);
grant select, insert, update on role to :role;
