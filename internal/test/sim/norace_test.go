//go:build !race

package sim

const (
	raceDetector = false
	defaultSeeds = 300
)
