package projections

import (
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/words"
)

// Words is a tsvector in Postgres' text form, without positions.
type Words string

func wordsOf(text string) Words { return Words(words.Vector(words.Of(text))) }

// vector gives the words as a parameter of COPY.
func (w Words) vector() pgtype.TSVector {
	v := pgtype.TSVector{Valid: true}
	for word := range strings.FieldsSeq(string(w)) {
		v.Lexemes = append(v.Lexemes, pgtype.TSVectorLexeme{Word: strings.Trim(word, "'")})
	}
	return v
}

// searchText is a text that can be searched: that of a task, of a comment, of a project or of a tag.
type searchText struct {
	ID       uuid.UUID `json:"id"`
	OfID     uuid.UUID `json:"of_id"` // the thing that a search finds: the task of a comment, else the thing itself
	Title    Words     `json:"title"`
	Body     Words     `json:"body"`
	Version  int       `json:"version"`
	Position int64     `json:"position"`
}

// Search is the read model of the texts that can be searched. The texts have a table of their own, so that an event that changes no text costs
// nothing here. The things are of several nouns; the stream of each ends with its id.
var Search = newModel("search", uuid.UUID.String, searchTextIn, (*searchText).apply, func(w searchText) uuid.UUID { return w.ID })

// matchesWords gives the condition that one text of a thing has the words.
func matchesWords(noun string) string {
	return noun + `.id in (select search.of_id from search where (search.title || search.body) @@ {words})`
}

// taskMatchesWords is the condition for tasks: the words may also be in a comment that the caller may see, and the text may be a key of the task. The
// subquery does not refer to the listed task, so Postgres can begin with the words.
var taskMatchesWords = `task.id in (select search.of_id from search where (search.title || search.body) @@ {words} and (search.id = search.of_id or {scope} = 'all' or
	exists (select from comment join task on task.id = comment.task_id where comment.id = search.id and ` +
	Sight{Own: ownComment + " or " + ownTask, Project: `task.project_id`}.visible("{scope}") + `)){keyed})`

// orTaskOfKey is apart, because Postgres begins with the whole of a union.
const orTaskOfKey = `union all select task_key.task_id from task_key where task_key.id = $%d::uuid`

func noWords() error { return domain.InvalidField("/q", "must have a letter or a digit") }

// Matching gives a function that tells whether a text has the words of a search. It is for texts that the database cannot search, because they are
// sealed or in no table.
func Matching(text string) (matches func(text string) bool, err error) {
	if words.Query(text) == "" {
		return nil, noWords()
	}
	return func(in string) bool { return words.Match(text, in) }, nil
}

// searchTextIn gives the thing whose text a record changes.
func searchTextIn(r domain.Record) (id uuid.UUID, changes bool) {
	kind := ""
	switch e := r.Event.(type) {
	case domain.TaskCreated:
		kind = "task"
	case domain.TaskUpdated:
		if e.Title != nil || e.Description != nil {
			kind = "task"
		}
	case domain.ProjectCreated:
		kind = "project"
	case domain.ProjectUpdated:
		if e.Name != nil || e.Description != nil {
			kind = "project"
		}
	case domain.TagCreated:
		return e.TagID, true
	case domain.TagRenamed:
		return e.TagID, true
	case domain.CommentCreated, domain.CommentUpdated, domain.CommentDeleted:
		kind = "comment"
	}
	return domain.StreamID(kind, r.Stream)
}

func (w *searchText) apply(r domain.Record) {
	switch e := r.Event.(type) {
	case domain.TaskCreated:
		w.write(&e.Title, &e.Description)
	case domain.TaskUpdated:
		w.write(e.Title, e.Description)
	case domain.ProjectCreated:
		w.write(&e.Name, &e.Description)
	case domain.ProjectUpdated:
		w.write(e.Name, e.Description)
	case domain.TagCreated:
		w.write(&e.Name, nil)
	case domain.TagRenamed:
		w.write(&e.Name, nil)
	case domain.CommentCreated:
		w.write(nil, &e.Body)
		w.OfID = e.TaskID
	case domain.CommentUpdated:
		w.write(nil, &e.Body)
	case domain.CommentDeleted:
		w.Body = ""
	}
	w.ID, _ = searchTextIn(r)
	if w.OfID == uuid.Nil {
		w.OfID = w.ID
	}
	w.Version, w.Position = r.Version, r.Position
}

// write sets the words of the texts; a nil text stays.
func (w *searchText) write(title, body *string) {
	if title != nil {
		w.Title = wordsOf(*title)
	}
	if body != nil {
		w.Body = wordsOf(*body)
	}
}
