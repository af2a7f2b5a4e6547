-- The words of what people wrote, as internal/words folds them: a row for a task, each comment on one, a project, a tag.
create table search (
    id       uuid primary key,
    of_id    uuid not null,    -- what is found: the task of a comment, else the thing itself
    title    tsvector not null,
    body     tsvector not null,
    version  integer not null, -- of the stream of the thing, when the words last changed
    position bigint not null
);
create index on search using gin ((title || body)) with (gin_pending_list_limit = 1024); -- each search reads what is pending
create index on search (of_id);
grant select, insert, update on search to :role;
