//go:build race

package sim

// The race detector makes a seed ten times slower.
const (
	raceDetector = true
	defaultSeeds = 30
)
