-- A dump that a superuser restores on a server without our roles belongs to that superuser, this function as well: so the
-- login may have it give what is in one schema of ours to an owner that has nothing in another database. Restored with
-- roles, or once it has given itself away, the function is the owner's and can do no more than the owner.
create function adopt(place name, heir name) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    thing record;
begin
    if place !~ '^(kluis|kluis_jobs|ws_[0-9a-f]{32}(_(shadow|state)_[0-9a-f]+|_views)?)$' or not exists (select from pg_roles where rolname = heir
        and rolname ~ '^kluis_owner' and not (rolcanlogin or rolsuper or rolcreaterole or rolbypassrls)
        and not exists (select from pg_shdepend d where d.refclassid = 'pg_authid'::regclass and d.refobjid = pg_roles.oid
            and d.dbid not in (0, (select oid from pg_database where datname = current_database())))) then
        raise insufficient_privilege using message = format('%s is not given to %s', place, heir);
    end if;
    execute format('grant all on schema %I to %I', place, heir);
    for thing in select c.relname, case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' else 'table' end as kind
        from pg_class c where c.relnamespace = to_regnamespace(place::text) and c.relkind in ('r', 'p', 'v', 'm', 'S')
        and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i')) loop
        execute format('alter %s %I.%I owner to %I', thing.kind, place, thing.relname, heir);
    end loop;
    for thing in select t.typname from pg_type t where t.typnamespace = to_regnamespace(place::text) and t.typtype in ('e', 'd') loop
        execute format('alter type %I.%I owner to %I', place, thing.typname, heir);
    end loop;
    for thing in select p.oid::regprocedure as name from pg_proc p where p.pronamespace = to_regnamespace(place::text) order by p.proname = 'adopt' loop
        execute format('alter function %s owner to %I', thing.name, heir);
    end loop;
    execute format('alter schema %I owner to %I', place, heir);
end $$;
revoke all on function adopt from public;
grant execute on function adopt to :login;
