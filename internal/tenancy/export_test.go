package tenancy

// What tests look at from outside.
var Pause = pause

const (
	LongestPause = longestPause
	OutagePause  = outagePause
)
