// Package document writes texts for people as a page of HTML and as a PDF. A text has sections with paragraphs and lists. Both formats say the
// same in the same order, and the same document always makes the same bytes.
package document
