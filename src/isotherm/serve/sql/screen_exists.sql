-- Whether a client ever had a map of this screen.
SELECT 1
FROM maps
WHERE client_id = {client_id:String} AND screen_id = {screen_id:String}
LIMIT 1
