package document

import "time"

// Document is a text for people, in English.
type Document struct {
	Title    string    `json:"title" doc:"What the document is." example:"Data processing agreement"`
	Date     time.Time `json:"date" doc:"Of which day it is."`
	Sections []Section `json:"sections" doc:"What it says, in order."`
}

// Section is a part of a document under a heading. Its list, if there is one, follows its paragraphs.
type Section struct {
	Title string   `json:"title" doc:"The heading." example:"5. Security"`
	Text  []string `json:"text" doc:"Paragraphs."`
	List  []Item   `json:"list" doc:"Behind the paragraphs."`
}

// Item is a line of a list: a term, and what is said of it. Either may be empty.
type Item struct {
	Term string `json:"term" doc:"What something is said of." example:"Processor"`
	Text string `json:"text" doc:"What is said of it." example:"Example BV, Brussels."`
}
