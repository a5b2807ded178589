package wire

// EncodeCoordinate encodes a coordinate as messages carry it.
func EncodeCoordinate(c Coordinate) ([]byte, error) { return messages.enc.Marshal(c) }

// DecodeCoordinate is what decoding does to a coordinate within a message.
func DecodeCoordinate(b []byte) (c Coordinate, err error) {
	if err := messages.dec.Unmarshal(b, &c); err != nil {
		return c, invalidf("%v", err)
	}
	return c, c.Validate()
}
