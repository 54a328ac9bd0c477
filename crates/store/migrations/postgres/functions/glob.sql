-- When two lock keys can cover one thing: `model/src/glob.rs` and `LockKey::overlaps` in PL/pgSQL.

-- The components of everything a key covers, as a glob.
create or replace function coordinator.reach(p_space text, p_pattern text) returns text[]
language plpgsql immutable parallel safe as $$
declare
    components text[] := array_remove(string_to_array(p_pattern, '/'), '');
    last       text collate "C" := components[cardinality(components)];
begin
    -- What has an extension is a file: nothing lies below it.
    if p_space = 'db' or p_space = 'path' and coalesce(last !~ '^.+\.(?![0-9]+$)[A-Za-z0-9]{1,10}$', true) then
        return components || '**'::text;
    end if;
    return components;
end
$$;

-- Is there a component that both match?
create or replace function coordinator.components_meet(a text, b text) returns boolean
language plpgsql immutable parallel safe as $$
declare
    head integer;
    tail integer;
begin
    if a !~ '[*?]' and b !~ '[*?]' then
        return a = b;
    end if;
    if strpos(a, '*') > 0 and strpos(b, '*') > 0 then
        -- What one of them has between its first and its last `*`, a `*` of the other swallows: only the ends count.
        head := least(strpos(a, '*'), strpos(b, '*')) - 1;
        tail := least(strpos(reverse(a), '*'), strpos(reverse(b), '*')) - 1;
        return coordinator.components_meet(left(a, head), left(b, head))
            and coordinator.components_meet(right(a, tail), right(b, tail));
    end if;
    if strpos(b, '*') > 0 then
        return coordinator.components_meet(b, a);
    end if;
    if strpos(b, '?') = 0 then
        return b like translate(regexp_replace(a, '([\\%_])', '\\\1', 'g'), '*?', '%_');
    end if;
    -- Every `?` of `b`, too, stands for any character.
    return b ~ (
        select '^' || string_agg(
            case c when '*' then '.*' when '?' then '.' else format('[\U%s?]', lpad(to_hex(ascii(c)), 8, '0')) end, ''
            order by n
        ) || '$'
        from string_to_table(a, null) with ordinality as characters (c, n)
    );
end
$$;

-- Is there a sequence of components that both match?
create or replace function coordinator.globs_meet(a text[], b text[]) returns boolean
language plpgsql immutable parallel safe as $$
declare
    -- reach[j] tells, for the rest of `a` from the current component, whether it meets b[j..]; below[j], from the next.
    reach boolean[] := array_fill(false, array[cardinality(b) + 1]);
    below boolean[];
begin
    for i in reverse cardinality(a) + 1 .. 1 loop
        below := reach;
        for j in reverse cardinality(b) + 1 .. 1 loop
            -- Beyond their ends a[i] and b[j] are null, and so are reach and below.
            reach[j] := case
                when a[i] = '**' then below[j] or coalesce(reach[j + 1], false)
                when b[j] = '**' then reach[j + 1] or (a[i] is not null and below[j])
                when a[i] is null or b[j] is null then a[i] is null and b[j] is null
                else below[j + 1] and coordinator.components_meet(a[i], b[j])
            end;
        end loop;
    end loop;
    return reach[1];
end
$$;

-- Can one thing be covered by two keys of one space?
create or replace function coordinator.overlap(
    p_space text, p_pattern text, p_wild boolean, p_other_pattern text, p_other_wild boolean
) returns boolean
language plpgsql immutable parallel safe as $$
begin
    if p_wild or p_other_wild then
        return coordinator.globs_meet(
            coordinator.reach(p_space, p_pattern), coordinator.reach(p_space, p_other_pattern)
        );
    end if;
    return p_pattern = p_other_pattern
        or p_space in ('path', 'db') and (
            p_pattern = '' or p_other_pattern = ''
            or starts_with(p_pattern, p_other_pattern || '/')
            or starts_with(p_other_pattern, p_pattern || '/')
        );
end
$$;

-- Does any key of one list overlap any of the other?
create or replace function coordinator.any_overlap(p_keys jsonb, p_others jsonb) returns boolean
language plpgsql immutable parallel safe as $$
begin
    return exists (
        select
        from jsonb_to_recordset(p_keys) as a (space text, pattern text, wild boolean)
        join jsonb_to_recordset(p_others) as b (space text, pattern text, wild boolean) using (space)
        where coordinator.overlap(space, a.pattern, a.wild, b.pattern, b.wild)
    );
end
$$;
