package document

import "time"

// Document is a text for people, in English.
type Document struct {
	Title    string    `json:"title"`
	Date     time.Time `json:"date"` // of which it is: the day is shown
	Sections []Section `json:"sections"`
}

// Section is a part of a document under a heading. Its list, if there is one, comes behind its paragraphs.
type Section struct {
	Title string   `json:"title"`
	Text  []string `json:"text"`
	List  []Item   `json:"list"`
}

// Item is a line of a list: a term, and what there is to say of it. Either may be empty.
type Item struct {
	Term string `json:"term"`
	Text string `json:"text"`
}
