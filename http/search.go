package http

// Searched is for the input of a list that can be searched.
type Searched struct {
	Q string `query:"q" maxLength:"200" doc:"Words, each of which the thing must have, or a word that begins with it; one letter or digit stands for itself. Case and accents do not count, in any language. Where words are written without spaces, as in Chinese and Japanese, each two characters that stand side by side must be there." example:"paint door"`
}

func (s Searched) text() string { return s.Q }
