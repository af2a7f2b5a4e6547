// Package document writes texts for people, made of sections with paragraphs and lists, as a page of HTML and as a PDF. Both say the same,
// in the same order, and the same document is always the same bytes.
package document
