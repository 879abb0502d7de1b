// Whether a text is one that anybody sees.

// What shows as nothing: spaces, control characters, what fonts are told to leave out, and the Braille pattern without dots.
const SEEN = /[^\p{White_Space}\p{Cc}\p{Default_Ignorable_Code_Point}\u2800]/u;

export const isVisible = (text) => SEEN.test(text);
