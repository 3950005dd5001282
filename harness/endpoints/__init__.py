"""Getting to an endpoint: started if need be, seen to answer, and asked which APIs it speaks."""
