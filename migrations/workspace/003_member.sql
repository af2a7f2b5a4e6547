-- email and full_name are sealed under the member's data key; email_hash is a keyed hash.
create table member (
    id         uuid primary key,
    email      text not null,
    email_hash text not null,
    full_name  text not null,
    role       text not null,
    status     text not null,
    language   text not null, -- of mails
    created_at timestamptz not null,
    updated_at timestamptz not null,
    version    integer not null,
    position   bigint not null
);
create index on member (email_hash);
create index on member (role, status);
grant select, insert, update on member to :role;
