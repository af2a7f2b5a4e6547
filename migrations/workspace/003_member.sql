-- email and full_name are sealed under the member's data key.
create table member (
    id         uuid primary key,
    email      text not null,
    full_name  text not null,
    role       text not null,
    status     text not null,
    language   text not null, -- of mails
    two_factor boolean not null, -- what codes are compared with is in a table of its own
    hourly_rate_cents bigint,
    erased_at  timestamptz, -- since then nobody can read who it was
    created_at timestamptz not null,
    updated_at timestamptz not null,
    version    integer not null,
    position   bigint not null
);
create index on member (role, status);
grant select, insert, update on member to :role;

-- Whose an address is, by its keyed hash. It is no read model and in no event, so that nothing of an address stays once
-- its row is deleted: it is stored along with the event that makes the member, and goes with the member.
create table member_email (
    member_id uuid primary key,
    hash      varchar(64) not null unique -- so short that Postgres makes no TOAST table
);
grant select, insert, delete on member_email to :role;
